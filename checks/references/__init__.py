"""Public models of others, and what is counted of them."""
