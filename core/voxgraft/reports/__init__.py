"""Pages that need no server and no network, with their plots and pictures: scores, comparisons, batches, advice."""
