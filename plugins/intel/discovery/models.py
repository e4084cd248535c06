"""Names of GPUs by device id: those by which Intel's rules for Node Feature Discovery label nodes."""

from collections.abc import Mapping

MODELS: Mapping[str, str] = {
    "0x56c0": "Flex 170",
    "0x56c1": "Flex 140",
    "0x0bd5": "Max 1550",
    "0x0bda": "Max 1100",
    **dict.fromkeys(("0x0bd0", "0x0bd6", "0x0bd7", "0x0bd9", "0x0bdb"), "Max Series"),
    **{
        f"0x{number:04x}": "A Series"
        for first, last in ((0x5690, 0x5697), (0x56A0, 0x56A6), (0x56B0, 0x56B3), (0x56BA, 0x56BD))
        for number in range(first, last + 1)
    },
}
"""All other models have no name of their own."""
