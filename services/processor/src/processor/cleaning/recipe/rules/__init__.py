"""The rules of recipes, one family each."""
