"""The code that runs on the far side: nothing here knows of schedulers, sessions or `Parallel`."""
