"""J-HMDB: 928 clips of 21 actions, the moments of HMDB51's in which the body is seen (Jhuang et al. 2013)."""

from zoo.data.hmdb51 import Hmdb51


class Jhmdb(Hmdb51):
    """`root/jhmdb/ReCompressed_Videos/CLASS/*.avi` and the lists in `root/jhmdb/splits/`, which have HMDB51's form."""

    place = "jhmdb"
    videos = "ReCompressed_Videos"
    splits_folder = "splits"
