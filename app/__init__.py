"""WHO puts it together: settings, bootstrap and the command line."""
