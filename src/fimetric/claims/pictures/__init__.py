"""Pictures of the claims, one module each."""
