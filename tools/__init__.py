"""What writes code of this project from the service model; no part of the package."""
