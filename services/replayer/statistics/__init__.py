"""The statistics of replays: data in, result out. No input and output, no clock; randomness is passed in."""
