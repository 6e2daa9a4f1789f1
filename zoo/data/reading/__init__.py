"""From files to samples: videos, tables, folders, archives."""
