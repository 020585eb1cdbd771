"""An exported file: the formats, the network that is exported, its preprocessing, and the check before it is kept."""
