"""Code generators for the documentation and the request types, which are not part of the package."""
