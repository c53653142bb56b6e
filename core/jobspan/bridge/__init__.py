"""jobspan inside other libraries; each module here is imported by its user, and needs the library it is named after."""
