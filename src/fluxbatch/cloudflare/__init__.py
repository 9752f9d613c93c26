"""What goes over the wire, and what does the answer mean?"""
