"""Networks: encoder, decoder, heads, weights and transfer strategies."""
