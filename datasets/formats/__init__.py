"""Files from strangers: pictures, pickles, joints."""
