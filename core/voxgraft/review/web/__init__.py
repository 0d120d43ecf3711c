"""The server of a review: what is asked for, who may ask, and what is answered."""
