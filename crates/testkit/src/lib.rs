//! Test doubles: a model of the Linux frontend and a hostile frontend.
