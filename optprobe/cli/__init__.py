"""The command line: one file a subcommand, each a thin call of one public function."""
