"""Networks: one module for each option of the group, and networks that runs make of others."""
