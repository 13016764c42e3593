"""Asking the Hugging Face Hub through its official client, within bounds."""
