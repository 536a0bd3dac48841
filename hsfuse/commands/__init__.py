"""What each command does, callable from Python: `from hsfuse.commands.fuse import fuse`."""
