"""The only public door: who may come in, how often, and to which service. It knows no domain."""
