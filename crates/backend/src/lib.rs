//! Host side of sndif: connections, streams and pacing without I/O.
