"""Speed and memory, each line beside a peer or a physical limit measured in the same run."""
