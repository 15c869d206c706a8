"""Which NIR files pass between this toolkit and the frameworks that speak NIR; see `checks.nir_frameworks`."""
