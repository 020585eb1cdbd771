"""The predictions of networks, and numbers and pictures made from them."""
