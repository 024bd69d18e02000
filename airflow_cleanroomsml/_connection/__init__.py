"""How tasks reach AWS: the connection's arguments, their validation, and boto3 clients."""
