"""Which files are recordings, by their names; it loads nothing heavy."""

from shutil import which

AUDIO_EXTENSIONS = (".wav", ".flac", ".mp3", ".ogg", ".opus", ".sph", ".aif", ".aiff", ".au", ".caf", ".w64")
MEDIA_EXTENSIONS = (".m4a", ".mp4", ".m4b", ".aac", ".wma", ".webm", ".mkv", ".mov", ".amr", ".3gp", ".ra")
FFMPEG = "ffmpeg"  # reads the sound of the latter, where the machine has it


def recording_extensions() -> tuple[str, ...]:
    """What this machine can read."""
    return (*AUDIO_EXTENSIONS, *(MEDIA_EXTENSIONS if which(FFMPEG) else ()))
