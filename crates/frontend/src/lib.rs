//! Guest side of sndif: connection and stream state machines without I/O.
