"""The sample model API: which iris a flower is."""
