"""What every feature stands on: settings' helpers, clock, unit of work, tenancy, errors. Imports no feature."""
