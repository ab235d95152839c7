"""The binding: from notebooks to pages."""
