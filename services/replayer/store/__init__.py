"""The replayer's SQL, by noun. Functions take a connection; whoever calls them holds the transaction."""
