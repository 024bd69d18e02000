"""What the checks of training data and seeds do. Only a task that runs loads this package, which needs botocore."""
