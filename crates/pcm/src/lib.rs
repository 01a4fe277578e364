//! PCM samples: silence, gain and level for every sndif format.
