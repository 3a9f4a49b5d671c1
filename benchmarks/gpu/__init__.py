"""One run on a GPU: what the device can do, and how near to it training, features and extraction come."""
