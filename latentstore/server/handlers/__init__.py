"""What each route does: functions of a `Call` that return a struct of `wire`, a table, or bytes."""
