"""Which files are recordings, by their names; it loads nothing."""

AUDIO_EXTENSIONS = (".wav", ".flac", ".mp3", ".ogg", ".opus", ".sph", ".aif", ".aiff", ".au")
