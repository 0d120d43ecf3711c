"""Transfer: what a strategy may do, how strategies stack, and the table of parameters that they edit."""
