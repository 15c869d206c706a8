"""What fired and what was computed while a model ran, layer by layer, as counts. It knows no price."""
