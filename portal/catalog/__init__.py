"""What is sold: plans, prices, bundles, features and meters, read from one TOML file and kept in the database."""
