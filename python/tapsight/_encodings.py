"""Names of the encodings of RTP."""

from __future__ import annotations

ENCODINGS = (
    "AC3", "AMR", "AMR-WB", "AMR-WB+", "ATRAC-ADVANCED-LOSSLESS", "ATRAC-X", "ATRAC3", "AV1", "BV16",
    "BV32", "CN", "CelB", "DV", "DVI4", "EVRC", "EVRC0", "EVRC1", "EVRCB", "EVRCB0", "EVRCB1", "EVRCNW",
    "EVRCNW0", "EVRCNW1", "EVRCWB", "EVRCWB0", "EVRCWB1", "EVS", "G711-0", "G719", "G721", "G722",
    "G7221", "G723", "G726-16", "G726-24", "G726-32", "G726-40", "G728", "G729", "G7291", "G729D",
    "G729E", "GSM", "GSM-EFR", "GSM-HR-08", "H261", "H263", "H263-1998", "H263-2000", "H264",
    "H264-SVC", "H265", "H266", "JPEG", "L16", "L20", "L24", "L8", "LPC", "MELP", "MELP1200",
    "MELP2400", "MELP600", "MP2T", "MP4A-LATM", "MP4V-ES", "MPA", "MPV", "PCMA", "PCMA-WB", "PCMU",
    "PCMU-WB", "QCELP", "RED", "SILK", "SIREN", "SMV", "SMV0", "TETRA_ACELP", "TETRA_ACELP_BB",
    "TSVCIS", "UEMCLIP", "VC1", "VDVI", "VMR-WB", "VP8", "VP9", "X-MSRTA", "X-RTVC1", "clearmode",
    "eac3", "iLBC", "iSAC", "mpeg4-generic", "nv", "opus", "parityfec", "rtx", "speex", "t140c", "t38",
    "telephone-event", "tone", "ulpfec", "vorbis",
)  # fmt: skip
"""Those of the engine, and others of RFCs or in use. What is not among them may be agreed on all the same."""
