"""DynamoDB tables, and the repositories that turn rows into domain values."""
