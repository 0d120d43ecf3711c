"""The plugins that come with VoxGraft. Each is found through its entry point, as any other is."""
