"""Networks: encoders, decoders, what joins them, and the pretrained weights they begin with."""
