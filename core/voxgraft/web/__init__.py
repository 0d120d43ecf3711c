"""What every server of VoxGraft shares: where it listens, who may speak to it, how much it reads."""
