"""The ground floor: errors, files, locks and arrays. Standard library, numpy and safetensors alone."""
