"""The settings that a run may have, and the things that are built from them."""
