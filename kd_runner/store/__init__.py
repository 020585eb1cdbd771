"""Networks trained once and teacher logits computed once, shared by runs."""
