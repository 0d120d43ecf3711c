"""The steps that come with VoxGraft, each in its file; cards for them are in voxgraft_plugins.steps."""
