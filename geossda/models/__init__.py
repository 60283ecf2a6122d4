"""Networks and their cards; tensors only."""
